#!/usr/bin/python3
"""The shop's API: items in the database `db`; `web` is told when they change.

GET  /items                    all of them, as JSON
POST /items {"name", "cents"}  one more
GET  /you                      the address that asks
"""

import json
import os
import signal
import socket
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pymysql

TABLE = "CREATE TABLE IF NOT EXISTS items (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(100) NOT NULL, cents INT NOT NULL)"


def query(sql, args=()):
    """Runs one statement in a connection of its own: a database that was restarted, at
    another address even, is found again by its name."""
    db = pymysql.connect(host="db", user="shop", password=os.environ["PASSWORD"], database="shop",
                         autocommit=True, connect_timeout=5, cursorclass=pymysql.cursors.DictCursor)
    with db, db.cursor() as cursor:
        cursor.execute(TABLE)
        cursor.execute(sql, args)
        return cursor.fetchall()


def tell_web():
    """Best effort: web asks again by itself after a while."""
    try:
        urllib.request.urlopen("http://web:3000/changed", data=b"", timeout=5).close()
    except OSError as e:
        print("web was not told:", e, file=sys.stderr, flush=True)


class Handler(BaseHTTPRequestHandler):
    def answer(self, code, value):
        body = json.dumps(value).encode() + b"\n"
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def attempt(self, action):
        try:
            self.answer(200, action())
        except pymysql.MySQLError as e:
            self.answer(503, {"error": str(e)})
        except (ValueError, KeyError, TypeError) as e:
            self.answer(400, {"error": repr(e)})

    def do_GET(self):
        if self.path == "/items":
            self.attempt(lambda: query("SELECT id, name, cents FROM items ORDER BY id"))
        elif self.path == "/you":
            self.answer(200, {"address": self.client_address[0].removeprefix("::ffff:")})
        else:
            self.answer(404, {"error": "GET /items, POST /items, GET /you"})

    def do_POST(self):
        item = self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def add():
            given = json.loads(item)
            query("INSERT INTO items (name, cents) VALUES (%s, %s)", (given["name"], int(given["cents"])))
            tell_web()
            return {"added": given["name"]}

        self.attempt(add)


class Server(ThreadingHTTPServer):
    # Both families by one socket, where the container has both.
    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    def server_bind(self):
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


if __name__ == "__main__":
    # Process 1 has no default action for signals (pid_namespaces(7)).
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print("api: ready", flush=True)
    Server(("", 8000), Handler).serve_forever()

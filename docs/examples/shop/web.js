#!/usr/bin/node
// The shop's page: what `api` has, kept until that says it has changed.
//
//	GET  /          the page
//	GET  /you       the address that asks
//	POST /changed   from api: ask again
'use strict';
const http = require('node:http');

const maxAge = 60_000; // milliseconds: api's word may get lost
let page = null, made = 0, asked = 0;

const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

async function render() {
	asked++;
	const answer = await fetch('http://api:8000/items', { signal: AbortSignal.timeout(10_000) });
	if (!answer.ok) throw new Error(`api answers ${answer.status}: ${await answer.text()}`);
	const items = await answer.json();
	const lines = items.map((i) => `<li>${escape(i.name)}: ${(i.cents / 100).toFixed(2)}</li>`);
	page = `<h1>Shop</h1>\n<ul>\n${lines.join('\n')}\n</ul>\n<p>asked ${asked} times</p>\n`;
	made = Date.now();
}

const server = http.createServer(async (request, response) => {
	const answer = (code, type, text) => response.writeHead(code, { 'Content-Type': type }).end(text);
	try {
		if (request.method === 'POST' && request.url === '/changed') {
			page = null;
			answer(200, 'text/plain', 'asking again\n');
		} else if (request.url === '/you') {
			answer(200, 'text/plain', request.socket.remoteAddress.replace(/^::ffff:/, '') + '\n');
		} else if (request.url === '/') {
			if (page === null || Date.now() - made > maxAge) await render();
			answer(200, 'text/html', page);
		} else {
			answer(404, 'text/plain', 'GET /, GET /you\n');
		}
	} catch (e) {
		answer(502, 'text/plain', `${e.message}${e.cause ? ': ' + e.cause.message : ''}\n`);
	}
});
server.listen(3000, () => console.log('web: ready'));
// Process 1 has no default action for signals (pid_namespaces(7)).
process.on('SIGTERM', () => process.exit(0));

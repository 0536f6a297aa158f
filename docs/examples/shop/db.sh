#!/bin/sh
# MariaDB with one database and one user, both called shop. PASSWORD is that user's:
# an environment variable, as of other images. The data are below the volume
# /var/lib/mysql; an empty one is filled at the first start.
set -eu
data=/var/lib/mysql/data
: "${PASSWORD:?: run it with -e PASSWORD=…}"

# A folder that was renamed is whole, whatever ended the first start half-way.
if [ ! -d $data ]; then
	rm -rf $data.new
	mariadb-install-db --no-defaults --datadir=$data.new --skip-test-db --auth-root-authentication-method=socket >/dev/null
	mv $data.new $data
fi

# Run at every start, so that a new PASSWORD is taken. One statement a line: that is
# how --init-file reads. In memory, because of what it holds.
umask 077
quoted=$(printf %s "$PASSWORD" | sed "s/[\\\\']/\\\\&/g")
cat >/dev/shm/init.sql <<END
CREATE DATABASE IF NOT EXISTS shop;
CREATE USER IF NOT EXISTS shop@'%';
ALTER USER shop@'%' IDENTIFIED BY '$quoted';
GRANT ALL ON shop.* TO shop@'%';
END
unset PASSWORD quoted
exec mariadbd --no-defaults --datadir=$data --socket=/tmp/mysqld.sock --bind-address='*' \
	--skip-name-resolve --init-file=/dev/shm/init.sql "$@"

#!/bin/sh
# Makes the certificates of the tests and their keys (OpenSSL 3.0.19). Nobody trusts them but the tests.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
cat > "$work/conf" <<END
[ca]
default_ca = all
[all]
database = $work/index
new_certs_dir = $work
rand_serial = yes
policy = any
default_md = sha256
x509_extensions = of_a_server
[any]
commonName = supplied
[of_a_server]
basicConstraints = critical, CA:FALSE
subjectAltName = DNS:localhost, IP:127.0.0.1
[req]
distinguished_name = name
[name]
END
for which in one two; do
  : > "$work/index"
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -config "$work/conf" \
    -subj "/CN=pugmark test $which" -keyout "$which.key.pem" -out "$work/csr"
  openssl ca -batch -selfsign -notext -config "$work/conf" -keyfile "$which.key.pem" -in "$work/csr" \
    -startdate 20200101000000Z -enddate 21200101000000Z -out "$which.cert.pem"
done

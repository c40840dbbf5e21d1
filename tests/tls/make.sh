#!/bin/sh
# Makes the certificates of this folder anew: for tests only, their keys are public.
set -e
cd "$(dirname "$0")"
work=$(mktemp -d)
key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt; }
cat > "$work/ca.cnf" <<CNF
[ca]
default_ca = ca
[ca]
database = $work/index
serial = $work/serial
new_certs_dir = $work
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
[root]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
CNF
: > "$work/index"
echo 01 > "$work/serial"
key > "$work/ca.key"
openssl req -new -x509 -config "$work/ca.cnf" -extensions root -subj "/CN=postrider test root" -days 36500 \
    -key "$work/ca.key" -out ca.pem
key > leaf.key
leaf() { # NAME SUBJECTALTNAME START END
    openssl req -new -key leaf.key -subj "/CN=$1" -addext "subjectAltName=$2" -out "$work/$1.csr"
    openssl ca -batch -notext -config "$work/ca.cnf" -cert ca.pem -keyfile "$work/ca.key" -startdate "$3" -enddate "$4" \
        -in "$work/$1.csr" -out "$1.pem"
}
here="DNS:localhost,IP:127.0.0.1"
leaf good "$here" 20200101000000Z 21200101000000Z
leaf expired "$here" 20200101000000Z 20210101000000Z
leaf future "$here" 21000101000000Z 21200101000000Z
leaf other-name "DNS:elsewhere.example" 20200101000000Z 21200101000000Z
openssl req -new -x509 -key leaf.key -subj "/CN=localhost" -addext "subjectAltName=$here" -days 36500 -out self-signed.pem
rm -r "$work"

#!/bin/sh
# Sends one signed request to a gateway with openssl, xxd and curl.
# usage: sign-request.sh KEY.pem PARTY NETWORK METHOD URL [BODY-FILE]
set -eu
key=$1 party=$2 network=$3 method=$4 url=$5 body=${6-}
target=/${url#*://*/} path=${target%%\?*}
covered='"@method" "@path"' lines="\"@method\": $method
\"@path\": $path
"
case $target in *\?*) covered="$covered \"@query\"" lines="$lines\"@query\": ?${target#*\?}
" ;; esac
if [ -n "$body" ]; then
  digest="sha-256=:$(openssl dgst -sha256 -binary "$body" | openssl base64 -A):"
  covered="$covered \"content-digest\"" lines="$lines\"content-digest\": $digest
"
fi
params="($covered);created=$(date +%s);keyid=\"$party\";tag=\"vitalveil:$network\""
# openssl writes r and s as DER; the standard has 32 bytes of each.
numbers=$(printf '%s"@signature-params": %s' "$lines" "$params" | openssl dgst -sha256 -sign "$key" | openssl asn1parse -inform DER | sed -n 's/.*INTEGER *://p')
signature=$(printf '%64s%64s' $numbers | tr ' ' 0 | xxd -r -p | openssl base64 -A)
set -- -sS -X "$method" -H "Signature-Input: sig=$params" -H "Signature: sig=:$signature:"
[ -z "$body" ] || set -- "$@" -H 'Content-Type: application/json' -H "Content-Digest: $digest" --data-binary "@$body"
exec curl "$@" "$url"

#!/bin/sh
# The API by curl: ask about a photo, tell of a listing, and read back its tags.
#
# Usage: LISTLENS_TOKEN=listlens_... sh curl.sh PHOTO [ADDRESS_OF_A_PHOTO]
set -eu

url=${LISTLENS_URL:-http://127.0.0.1:8000}
token=${LISTLENS_TOKEN:?'a token, as `listlens token create --scope admin` prints it'}

# --retry makes the call again after 429 and 5xx, as late as Retry-After says.
ask() {
    curl --silent --show-error --fail-with-body --retry 5 --max-time 120 \
        --header "Authorization: Bearer $token" "$@"
    echo
}

echo "# A file, and nothing is stored:"
ask --form "photo=@$1" --form top=3 "$url/v1/predict"

[ $# -ge 2 ] || exit 0

echo "# A listing with a photo, which is fetched, answered and kept:"
ask --request PUT --json "{\"photos\": [{\"id\": \"1\", \"url\": \"$2\"}]}" "$url/v1/listings/curl-1"

echo "# What happened since (a shop keeps the cursor, and asks again from there):"
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    feed=$(ask --get --data kind=photo.predicted --data kind=photo.failed "$url/v1/feed")
    case $feed in *'"events":[]'*) sleep 1 ;; *) break ;; esac
done
echo "$feed"

echo "# The listing with its tags:"
ask "$url/v1/listings/curl-1?top=3"

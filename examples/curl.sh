#!/bin/sh
# The API by curl: ask about a photo, tell of a listing, and read back its tags.
#
# Usage: LISTLENS_TOKEN=listlens_... sh curl.sh PHOTO [ADDRESS_OF_A_PHOTO]
#
# It may be run again, on a project that is in use too.
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

# Where the feed ends now; a shop goes on from the cursor of the last page that it handled instead.
cursor=$(ask "$url/v1/feed?cursor=end" | sed -n 's/.*"cursor":"\([0-9]*\)".*/\1/p')

echo "# A listing with a photo, which is fetched, answered and kept:"
ask --request PUT --json "{\"photos\": [{\"id\": \"1\", \"url\": \"$2\"}]}" "$url/v1/listings/curl-1"

# It waits behind the uploads that came before; `waiting` counts its own.
n=0
while listing=$(ask "$url/v1/listings/curl-1?top=3"); do
    case $listing in *'"waiting":0,'*) break ;; esac
    n=$((n + 1))
    [ $n -lt 60 ] || { echo "nothing came of it within a minute: $url/health says why" >&2; exit 1; }
    sleep 1
done

echo "# What happened since, of all listings (nothing where the same photo was told before):"
ask --get --data "cursor=$cursor" --data kind=photo.predicted --data kind=photo.failed "$url/v1/feed"

echo "# The listing with its tags:"
echo "$listing"

# Resource definitions from a Go module: no program, only YAML. MODULE, SUM and FOLDER say which.
export GOFLAGS=
go mod download -json "$MODULE@v$VERSION" >module.json
grep -qF "\"Sum\": \"$SUM\"" module.json || { echo "$MODULE $VERSION is not the module that was pinned" >&2; exit 1; }
cp "$(sed -n 's/.*"Dir": "\(.*\)".*/\1/p' module.json)"/"$FOLDER"/*.yaml .
chmod 644 ./*.yaml
rm module.json

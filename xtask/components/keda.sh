# The resource definitions of KEDA, from its Go module: no program, only YAML.
export GOFLAGS=
sum=h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=
go mod download -json "github.com/kedacore/keda/v2@v$VERSION" >module.json
grep -qF "\"Sum\": \"$sum\"" module.json || { echo "keda $VERSION is not the module that was pinned" >&2; exit 1; }
cp "$(sed -n 's/.*"Dir": "\(.*\)".*/\1/p' module.json)"/config/crd/bases/*.yaml .
chmod 644 ./*.yaml
rm module.json

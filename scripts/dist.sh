#!/usr/bin/env bash
# Makes target/dist/theater-VERSION-PLATFORM.tar.gz: the program (stripped), its manual pages and completions, the documents, and the files
# for systemd. The templates of `theater new` are in the program. PROFILE=dev takes the program of a quick build.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${PROFILE:-release}
built=target/$([ "$profile" = dev ] && echo debug || echo "$profile")
cargo build --locked --bin theater --profile "$profile"
version=$("$built/theater" --version | cut -d' ' -f2)
name=theater-$version-$(rustc -vV | sed -n 's/^host: //p')
root=target/dist/$name
rm -rf "$root"
mkdir -p "$root"/{bin,share/man/man1,share/doc/theater,lib/systemd/system,lib/sysusers.d}
mkdir -p "$root"/share/{bash-completion/completions,zsh/site-functions,fish/vendor_completions.d}

install -m 755 "$built/theater" "$root/bin/theater"
strip "$root/bin/theater"
"$root/bin/theater" man "$root/share/man/man1"
"$root/bin/theater" completions bash > "$root/share/bash-completion/completions/theater"
"$root/bin/theater" completions zsh > "$root/share/zsh/site-functions/_theater"
"$root/bin/theater" completions fish > "$root/share/fish/vendor_completions.d/theater.fish"
cp -r README.md ARCHITECTURE.md LICENSE docs "$root/share/doc/theater/"
cp packaging/theater.service packaging/theater.socket "$root/lib/systemd/system/"
cp packaging/sysusers.conf "$root/lib/sysusers.d/theater.conf"

# The same contents give the same archive: one owner, one order, the time of the commit.
time=$(git log -1 --format=%ct 2>/dev/null || date +%s)
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$time" -C target/dist -cf - "$name" | gzip -n > "$root.tar.gz"
rm -rf "$root"
echo "$root.tar.gz: $(du -h "$root.tar.gz" | cut -f1)"

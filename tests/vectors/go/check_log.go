// Checks a log that Theater has written with Go's own implementation of its formats, golang.org/x/mod/sumdb: the signature of the
// checkpoint, the root from the tiles, a proof for each named index, and that each earlier tree is a beginning.
//
// Usage: check_log DIR PUBLIC-KEY [EARLIER-CHECKPOINT | PROOF.tlog-proof]…
package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// tiles reads the tiles of a directory under the paths of C2SP's tlog-tiles: those of tlog without the height.
type tiles struct{ dir string }

func (t tiles) Height() int { return 8 }

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(t.dir, path))
		if err != nil && tile.W < 256 {
			full := tile
			full.W = 256
			data, err = os.ReadFile(filepath.Join(t.dir, strings.Replace(full.Path(), "tile/8/", "tile/", 1)))
			if err == nil {
				data = data[:tile.W*tlog.HashSize]
			}
		}
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func main() {
	if err := check(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func checkpoint(path string, key note.Verifier) (tlog.Tree, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(text, note.VerifierList(key))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return tlog.Tree{}, fmt.Errorf("a checkpoint has three lines: %q", opened.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return tlog.Tree{}, fmt.Errorf("the root: %q", lines[2])
	}
	tree := tlog.Tree{N: size}
	copy(tree.Hash[:], root)
	return tree, nil
}

func check(dir, public string, earlier []string) error {
	key, err := note.NewVerifier(public)
	if err != nil {
		return err
	}
	tree, err := checkpoint(filepath.Join(dir, "checkpoint"), key)
	if err != nil {
		return err
	}
	// It checks each tile that it reads against the root.
	reader := tlog.TileHashReader(tree, tiles{dir})
	root, err := tlog.TreeHash(tree.N, reader)
	if err != nil || root != tree.Hash {
		return fmt.Errorf("the root of the tiles: %v, %v", root, err)
	}
	for index := int64(0); index < tree.N; index++ {
		proof, err := tlog.ProveRecord(tree.N, index, reader)
		if err != nil {
			return err
		}
		hashes, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, hashes[0]); err != nil {
			return err
		}
	}
	for _, path := range earlier {
		if strings.HasSuffix(path, ".tlog-proof") {
			if err := proof(path, key, reader); err != nil {
				return fmt.Errorf("%s: %v", path, err)
			}
			continue
		}
		before, err := checkpoint(path, key)
		if err != nil {
			return err
		}
		proof, err := tlog.ProveTree(tree.N, before.N, reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, before.N, before.Hash); err != nil {
			return err
		}
	}
	fmt.Printf("checked: %d events\n", tree.N)
	return nil
}

// proof checks the path of a proof from the leaf that the tiles have.
func proof(path string, key note.Verifier, reader tlog.HashReader) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, signed, found := bytes.Cut(text, []byte("\n\n"))
	if !found {
		return fmt.Errorf("it has no checkpoint")
	}
	lines := strings.Split(string(head), "\n")
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	var hashes tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		hashes = append(hashes, hash)
	}
	file, err := os.CreateTemp("", "checkpoint")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if _, err := file.Write(signed); err != nil {
		return err
	}
	tree, err := checkpoint(file.Name(), key)
	if err != nil {
		return err
	}
	leaf, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
	if err != nil {
		return err
	}
	return tlog.CheckRecord(hashes, tree.N, tree.Hash, index, leaf[0])
}

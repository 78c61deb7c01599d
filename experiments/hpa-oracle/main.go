// The decisions of the real Horizontal Pod Autoscaler on random inputs, as cases for an emulator.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/klog/v2"
	_ "k8s.io/kubernetes/pkg/features"
)

const source = "k8s.io/kubernetes v1.36.3, pkg/controller/podautoscaler, run as a library under a fake clock"

func main() {
	testing.Init()
	seed := flag.Uint64("seed", 1, "seed of all inputs; the same seed gives the same bytes")
	out := flag.String("out", "", "folder for the three files")
	replicas := flag.Int("replicas", 350, "calls of the replica calculator")
	normalize := flag.Int("normalize", 100, "sequences through stabilisation, rate limits and bounds")
	reconcile := flag.Int("reconcile", 200, "lives of a whole HPA")
	flag.Parse()
	if *out == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: hpa-oracle -out DIR [-seed N] [-replicas N] [-normalize N] [-reconcile N]")
		os.Exit(2)
	}
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	// The standard handlers sleep until so long after the last error, by a clock that the next case turns back.
	utilruntime.ErrorHandlers = nil

	// Go's fake clock needs a test around it, so the program is one.
	oracle := func(t *testing.T) {
		draw := func(name string, stream uint64, count int, decided func(d dice, k int) any) {
			d := newDice(*seed, stream)
			var cases []any
			for k := range count {
				synctest.Test(t, func(*testing.T) { cases = append(cases, decided(d, k)) })
			}
			if err := write(filepath.Join(*out, name), *seed, cases); err != nil {
				t.Fatal(err)
			}
			fmt.Printf("%s: %d cases\n", name, len(cases))
		}
		draw("oracle_replicas.json", 1, *replicas, func(d dice, k int) any {
			c := d.drawReplicas(k)
			c.decide()
			return c
		})
		draw("oracle_normalize.json", 2, *normalize, func(d dice, k int) any {
			c := d.drawNormalize(k)
			c.decide()
			return c
		})
		draw("oracle_reconcile.json", 3, *reconcile, func(d dice, k int) any {
			c := d.drawReconcile(k)
			c.decide(d)
			return c
		})
	}
	all := func(string, string) (bool, error) { return true, nil }
	testing.Main(all, []testing.InternalTest{{Name: "oracle", F: oracle}}, nil, nil)
}

// write puts one case on a line, and the whole in place at once.
func write(path string, seed uint64, cases []any) error {
	var text bytes.Buffer
	fmt.Fprintf(&text, "{\"source\":%q,\n\"note\":\"random inputs of seed %d\",\n\"count\":%d,\n\"cases\":[\n", source, seed, len(cases))
	for k, c := range cases {
		line, err := json.Marshal(c)
		if err != nil {
			return err
		}
		text.Write(line)
		if k+1 < len(cases) {
			text.WriteByte(',')
		}
		text.WriteByte('\n')
	}
	text.WriteString("]}\n")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", text.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// A whole Kubernetes control plane, and kubectl, in one program. The tests of autoscale-live run against it.
//
//	control-plane PART FLAGS
//
// Each part takes the flags of the program that it is named after; etcd takes a folder and two URLs instead.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	"k8s.io/kubectl/pkg/cmd"
)

const usage = "usage: control-plane etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kubectl FLAGS"

// part gives the command of that name, or nil.
func part(name string) *cobra.Command {
	switch name {
	case "etcd":
		return etcdCommand()
	case "kube-apiserver":
		return apiserver.NewAPIServerCommand()
	case "kube-controller-manager":
		return controllers.NewControllerManagerCommand()
	case "kube-scheduler":
		return scheduler.NewSchedulerCommand()
	case "kubectl":
		return cmd.NewDefaultKubectlCommand()
	}
	return nil
}

func etcdCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "etcd DATA_DIR CLIENT_URL PEER_URL",
		Short: "One member that forgets what it did when the machine fails: it never waits for the disk",
		Args:  cobra.ExactArgs(3),
		RunE: func(_ *cobra.Command, args []string) error {
			return serveEtcd(args[0], args[1], args[2])
		},
	}
}

// serveEtcd returns when it is told to stop, or when it fails.
func serveEtcd(folder, clients, peers string) error {
	client, err := url.Parse(clients)
	if err != nil {
		return fmt.Errorf("the clients' URL: %w", err)
	}
	peer, err := url.Parse(peers)
	if err != nil {
		return fmt.Errorf("the peers' URL: %w", err)
	}
	config := embed.NewConfig()
	config.Dir, config.LogLevel, config.UnsafeNoFsync = folder, "warn", true
	config.ListenClientUrls = []url.URL{*client}
	config.AdvertiseClientUrls = config.ListenClientUrls
	config.ListenPeerUrls = []url.URL{*peer}
	config.AdvertisePeerUrls = config.ListenPeerUrls
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	member, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	told, done := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer done()
	select {
	case err, open := <-member.Err():
		if !open {
			return errors.New("etcd ended by itself")
		}
		return err
	case <-told.Done():
		member.Close()
		return nil
	}
}

func main() {
	var command *cobra.Command
	// The commands look at os.Args themselves, kubectl even while it is made.
	if len(os.Args) > 1 {
		name := os.Args[1]
		os.Args = os.Args[1:]
		command = part(name)
	}
	if command == nil {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	os.Exit(cli.Run(command))
}

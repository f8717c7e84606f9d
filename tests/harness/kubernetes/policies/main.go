// Enforces NetworkPolicies: kube-router's controller of them by itself, in the node's packet filter.
package main

import (
	"context"
	"flag"
	"log"
	"sync"
	"time"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "the way to the cluster")
	node := flag.String("node", "", "name of the node")
	services := flag.String("services", "", "network of the Services")
	flag.Parse()

	configuration, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	must(err)
	client, err := kubernetes.NewForConfig(configuration)
	must(err)
	for {
		if _, err = client.CoreV1().Nodes().Get(context.Background(), *node, metav1.GetOptions{}); err == nil {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}

	chosen := options.NewKubeRouterConfig()
	chosen.EnableIPv4 = true
	chosen.HostnameOverride = *node
	chosen.ClusterIPCIDRs = []string{*services}

	forever := make(chan struct{})
	made := informers.NewSharedInformerFactory(client, 0)
	pods := made.Core().V1().Pods().Informer()
	namespaces := made.Core().V1().Namespaces().Informer()
	policies := made.Networking().V1().NetworkPolicies().Informer()
	made.Start(forever)
	made.WaitForCacheSync(forever)

	tables, sets, err := netpol.NewIPTablesHandlers(chosen)
	must(err)
	controller, err := netpol.NewNetworkPolicyController(
		client, chosen, pods, policies, namespaces, &sync.Mutex{}, tables, sets)
	must(err)
	_, err = pods.AddEventHandler(controller.PodEventHandler)
	must(err)
	_, err = namespaces.AddEventHandler(controller.NamespaceEventHandler)
	must(err)
	_, err = policies.AddEventHandler(controller.NetworkPolicyEventHandler)
	must(err)

	beats := make(chan *healthcheck.ControllerHeartbeat, 1)
	go func() {
		for range beats {
		}
	}()
	var running sync.WaitGroup
	running.Add(1)
	controller.Run(beats, forever, &running)
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

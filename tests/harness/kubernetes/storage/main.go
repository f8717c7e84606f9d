// A CSI driver whose volumes are XFS images on this machine: like a network disk, each has its own size, is one
// node's at a time, grows while it is mounted, and can be copied as it is at one moment. It registers with the kubelet
// itself.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"os"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

func main() {
	name := flag.String("name", "disk.modelyard.test", "of the driver")
	node := flag.String("node", "", "name of the node")
	images := flag.String("images", "", "folder of the images")
	kubelet := flag.String("kubelet", "", "the kubelet's root folder")
	attaches := flag.Bool("attach", false, "volumes are attached to their node before they are mounted")
	flag.Parse()

	socket := filepath.Join(*kubelet, "plugins", *name, "csi.sock")
	registry := filepath.Join(*kubelet, "plugins_registry", *name+"-reg.sock")
	disks := &disks{folder: *images}

	server := grpc.NewServer()
	csi.RegisterIdentityServer(server, &identity{name: *name})
	csi.RegisterControllerServer(server, &controller{disks: disks, attaches: *attaches})
	csi.RegisterNodeServer(server, &nodeServer{disks: disks, name: *node})
	go serve(server, socket)

	registrar := grpc.NewServer()
	registration.RegisterRegistrationServer(registrar, &registered{name: *name, socket: socket})
	serve(registrar, registry)
}

func serve(server *grpc.Server, socket string) {
	if err := os.MkdirAll(filepath.Dir(socket), 0o750); err != nil {
		log.Fatal(err)
	}
	os.Remove(socket)
	listener, err := net.Listen("unix", socket)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(server.Serve(listener))
}

type registered struct {
	registration.UnimplementedRegistrationServer
	name, socket string
}

func (r *registered) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type: registration.CSIPlugin, Name: r.name, Endpoint: r.socket, SupportedVersions: []string{"1.0.0"},
	}, nil
}

func (r *registered) NotifyRegistrationStatus(_ context.Context, status *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	if !status.PluginRegistered {
		log.Fatal("the kubelet did not register the driver: ", status.Error)
	}
	return &registration.RegistrationStatusResponse{}, nil
}

type identity struct {
	csi.UnimplementedIdentityServer
	name string
}

func (i *identity) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: i.name, VendorVersion: "1"}, nil
}

func (i *identity) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	service := &csi.PluginCapability_Service_{Service: &csi.PluginCapability_Service{Type: csi.PluginCapability_Service_CONTROLLER_SERVICE}}
	grows := &csi.PluginCapability_VolumeExpansion_{VolumeExpansion: &csi.PluginCapability_VolumeExpansion{Type: csi.PluginCapability_VolumeExpansion_ONLINE}}
	return &csi.GetPluginCapabilitiesResponse{Capabilities: []*csi.PluginCapability{{Type: service}, {Type: grows}}}, nil
}

func (i *identity) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{}, nil
}

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// attach gives a volume to a node, unless another one has it: as a network disk, it is one node's at a time.
func (d *disks) attach(id, node string) error {
	d.lock.Lock()
	defer d.lock.Unlock()
	path, err := d.path(id)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err != nil {
		return status.Errorf(codes.NotFound, "there is no volume %s", id)
	}
	note := d.holder(id)
	if has, err := os.ReadFile(note); err == nil && string(has) != node {
		return status.Errorf(codes.FailedPrecondition, "the volume %s is attached to the node %s", id, has)
	}
	if err := os.MkdirAll(filepath.Dir(note), 0o700); err != nil {
		return err
	}
	return os.WriteFile(note, []byte(node), 0o600)
}

// detach takes a volume from a node, or from whichever has it where none is named.
func (d *disks) detach(id, node string) error {
	d.lock.Lock()
	defer d.lock.Unlock()
	if _, err := d.path(id); err != nil {
		return err
	}
	if has, err := os.ReadFile(d.holder(id)); err == nil && node != "" && string(has) != node {
		return nil
	}
	if err := os.Remove(d.holder(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// The file that names the node which has a volume.
func (d *disks) holder(id string) string {
	return filepath.Join(d.folder, "attached", id)
}

func (c *controller) ControllerPublishVolume(_ context.Context, request *csi.ControllerPublishVolumeRequest) (*csi.ControllerPublishVolumeResponse, error) {
	return &csi.ControllerPublishVolumeResponse{}, c.disks.attach(request.GetVolumeId(), request.GetNodeId())
}

func (c *controller) ControllerUnpublishVolume(_ context.Context, request *csi.ControllerUnpublishVolumeRequest) (*csi.ControllerUnpublishVolumeResponse, error) {
	return &csi.ControllerUnpublishVolumeResponse{}, c.disks.detach(request.GetVolumeId(), request.GetNodeId())
}

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A snapshot is a copy of a volume's image. Its id names both: VOLUME@NAME.
func (d *disks) snapshot(volume, name string) (string, os.FileInfo, error) {
	d.lock.Lock()
	defer d.lock.Unlock()
	source, err := d.path(volume)
	if err != nil {
		return "", nil, err
	}
	if _, err := os.Stat(source); err != nil {
		return "", nil, status.Errorf(codes.NotFound, "there is no volume %s", volume)
	}
	id := volume + "@" + name
	path, err := d.snapshotPath(id)
	if err != nil {
		return "", nil, err
	}
	if _, err := os.Stat(path); err != nil {
		if err := duplicate(source, path); err != nil {
			return "", nil, err
		}
	}
	found, err := os.Stat(path)
	return id, found, err
}

func (d *disks) removeSnapshot(id string) error {
	path, err := d.snapshotPath(id)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (d *disks) snapshotPath(id string) (string, error) {
	if id == "" || id != filepath.Base(id) {
		return "", status.Errorf(codes.InvalidArgument, "no snapshot is called %q", id)
	}
	folder := filepath.Join(d.folder, "snapshots")
	return filepath.Join(folder, id), os.MkdirAll(folder, 0o700)
}

// duplicate copies an image as it is at one moment: what is written to a file system that is mounted waits meanwhile.
func duplicate(source, target string) (err error) {
	folder, err := mountOf(source)
	if err != nil {
		return err
	}
	if folder != "" {
		if err := run("fsfreeze", "--freeze", folder); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, run("fsfreeze", "--unfreeze", folder)) }()
	}
	pending := target + ".copy"
	if err := run("cp", "--reflink=auto", "--sparse=always", source, pending); err != nil {
		return err
	}
	return os.Rename(pending, target)
}

// mountOf is a folder at which an image is mounted, or empty.
func mountOf(image string) (string, error) {
	devices, err := exec.Command("losetup", "--noheadings", "--output", "NAME", "--associated", image).Output()
	if err != nil {
		return "", status.Errorf(codes.Internal, "losetup --associated %s: %v", image, err)
	}
	for _, device := range strings.Fields(string(devices)) {
		folders, err := exec.Command("findmnt", "--noheadings", "--output", "TARGET", "--source", device).Output()
		if err == nil {
			return strings.Split(strings.TrimSpace(string(folders)), "\n")[0], nil
		}
	}
	return "", nil
}

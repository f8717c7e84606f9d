package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The least that mkfs.xfs takes.
const smallest = 300 << 20

// The images, one call at a time. A volume's id is the name of its image.
type disks struct {
	lock   sync.Mutex
	folder string
}

func (d *disks) path(id string) (string, error) {
	if id == "" || id != filepath.Base(id) {
		return "", status.Errorf(codes.InvalidArgument, "no volume is called %q", id)
	}
	return filepath.Join(d.folder, id), nil
}

// create makes an image of that size, in bytes, unless it is there; its size. `from` is the image that it begins with, or
// empty.
func (d *disks) create(id string, size int64, from string) (int64, error) {
	d.lock.Lock()
	defer d.lock.Unlock()
	path, err := d.path(id)
	if err != nil {
		return 0, err
	}
	if found, err := os.Stat(path); err == nil {
		return found.Size(), nil
	}
	size = max(size, smallest)
	if err := os.MkdirAll(d.folder, 0o700); err != nil {
		return 0, err
	}
	pending := path + ".new"
	if from != "" {
		source, err := os.Stat(from)
		if err != nil {
			return 0, status.Errorf(codes.NotFound, "there is no %s to begin with", filepath.Base(from))
		}
		size = max(size, source.Size())
		if err := duplicate(from, pending); err != nil {
			return 0, err
		}
		// The file system in it follows when it is mounted.
		if err := os.Truncate(pending, size); err != nil {
			return 0, err
		}
		return size, os.Rename(pending, path)
	}
	if err := os.WriteFile(pending, nil, 0o600); err != nil {
		return 0, err
	}
	if err := os.Truncate(pending, size); err != nil {
		return 0, err
	}
	// Not ext4, which grows while it is mounted only for those who have CAP_SYS_RESOURCE.
	if err := run("mkfs.xfs", "-q", "-f", pending); err != nil {
		return 0, err
	}
	return size, os.Rename(pending, path)
}

func (d *disks) remove(id string) error {
	d.lock.Lock()
	defer d.lock.Unlock()
	path, err := d.path(id)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// grow makes the image that large, in bytes; the file system in it follows with `resize`.
func (d *disks) grow(id string, size int64) (int64, error) {
	d.lock.Lock()
	defer d.lock.Unlock()
	path, err := d.path(id)
	if err != nil {
		return 0, err
	}
	found, err := os.Stat(path)
	if err != nil {
		return 0, status.Errorf(codes.NotFound, "there is no volume %s", id)
	}
	if found.Size() >= size {
		return found.Size(), nil
	}
	return size, os.Truncate(path, size)
}

// mount shows the image's file system at a folder.
func (d *disks) mount(id, target string) error {
	d.lock.Lock()
	defer d.lock.Unlock()
	path, err := d.path(id)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(target, 0o750); err != nil {
		return err
	}
	if mounted(target) {
		return nil
	}
	// A copy of another volume has that one's identifier.
	if err := run("mount", "-t", "xfs", "-o", "loop,nouuid", path, target); err != nil {
		return err
	}
	return run("xfs_growfs", target)
}

// resize makes the file system that is mounted at a folder as large as its image.
func (d *disks) resize(target string) error {
	d.lock.Lock()
	defer d.lock.Unlock()
	source, err := exec.Command("findmnt", "--noheadings", "--output", "SOURCE", "--mountpoint", target).Output()
	if err != nil {
		return status.Errorf(codes.NotFound, "nothing is mounted at %s", target)
	}
	device := strings.TrimSpace(string(source))
	if err := run("losetup", "--set-capacity", device); err != nil {
		return err
	}
	return run("xfs_growfs", target)
}

func bind(source, target string, readOnly bool) error {
	if err := os.MkdirAll(target, 0o750); err != nil {
		return err
	}
	if !mounted(target) {
		if err := run("mount", "--bind", source, target); err != nil {
			return err
		}
	}
	if readOnly {
		return run("mount", "-o", "remount,bind,ro", target)
	}
	return nil
}

func unmount(target string) error {
	if mounted(target) {
		if err := run("umount", target); err != nil {
			return err
		}
	}
	if err := os.Remove(target); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func mounted(target string) bool {
	return exec.Command("mountpoint", "--quiet", target).Run() == nil
}

func run(name string, arguments ...string) error {
	if output, err := exec.Command(name, arguments...).CombinedOutput(); err != nil {
		return status.Errorf(codes.Internal, "%s %s: %s", name, strings.Join(arguments, " "), output)
	}
	return nil
}

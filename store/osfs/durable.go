package osfs

import "errors"

// syncCrossover is the number of files from which one sync of the whole file
// system is used instead of one per file.
//
// Ours: on an idle ext4 one file costs about 250 us and the whole file system
// 400 us to 900 us (BenchmarkSync), so that both meet at three or four files. The
// number is higher since on a busy file system the whole includes what other
// programs wrote.
const syncCrossover = 8

// Sync makes the temporary files of names durable.
//
// Shape: few are synced one by one, so that a busy file system's other writers
// are not waited for; from syncCrossover on the whole file system is, where the
// system can do that. Errors: the first one met, naming its file.
func (d *dest) Sync(names []string) error {
	if d.volatile || len(names) == 0 {
		return nil
	}
	if len(names) >= syncCrossover {
		if done, err := d.syncAll(names); done {
			return err
		}
	}
	for _, name := range names {
		err := d.in("syncing", name, func(in *dir, _, temp string) error { return in.syncChild(temp) })
		if err != nil {
			return err
		}
	}
	return nil
}

// syncAll syncs each file system that holds one of names; done is false where
// that cannot be done.
func (d *dest) syncAll(names []string) (done bool, err error) {
	synced := map[uint64]bool{}
	last := ""
	for i, name := range names {
		parent, _, err := d.check("syncing", name)
		if err != nil {
			return true, err
		}
		if i > 0 && parent == last {
			continue
		}
		last = parent
		r, _, err := d.dirs.get(parent)
		if err != nil {
			return true, describe("syncing", name, err)
		}
		if !synced[r.dev] {
			if err = r.syncWhole(); err == nil {
				synced[r.dev] = true
			}
		}
		d.dirs.put(r)
		if errors.Is(err, errors.ErrUnsupported) {
			return false, nil
		}
		if err != nil {
			return true, describe("syncing the file system of", name, err)
		}
	}
	return true, nil
}

// SyncDirs makes the lists of the directories that hold names durable.
func (d *dest) SyncDirs(names []string) error {
	if d.volatile {
		return nil
	}
	parents := map[string]bool{}
	for _, name := range names {
		parent, _, err := d.check("syncing", name)
		if err != nil {
			return err
		}
		parents[parent] = true
	}
	if len(parents) >= syncCrossover {
		if done, err := d.syncAll(names); done {
			return err
		}
	}
	for parent := range parents {
		r, _, err := d.dirs.get(parent)
		if err == nil {
			err = r.sync()
			d.dirs.put(r)
		}
		if err != nil {
			return describe("syncing", d.label(parent), err)
		}
	}
	return nil
}

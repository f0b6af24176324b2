/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef SHARED_H
#define SHARED_H

struct class;
struct dentry;
struct kobject;
struct proc_dir_entry;

/* What one module makes and another keeps a pointer to. */
struct shared {
	struct class *class;
	struct dentry *in_debugfs;
	struct kobject *in_sysfs;
	struct proc_dir_entry *in_proc;
};

const struct shared *shared_get(void);

#endif

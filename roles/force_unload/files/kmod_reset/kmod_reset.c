// SPDX-License-Identifier: GPL-2.0-only
/*
 * kmod_reset - mend the entry of one stuck module, then decline to be loaded
 *
 * Mechanism only: user space has read what the module table holds and decided
 * what it should hold. This module takes module_mutex, compares, stores, and
 * reports into a buffer of the process that called init_module(2).
 *
 * Its init always returns -ECANCELED, so it never stays loaded; that failure
 * path also wakes module_wq, on which other loads may wait for the target.
 */
#include <linux/atomic.h>
#include <linux/build_bug.h>
#include <linux/delay.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/ptrace.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/unistd.h>

#ifndef CONFIG_MODULE_UNLOAD
#error "this kernel cannot unload modules (CONFIG_MODULE_UNLOAD is not set)"
#endif

#define REPORT_MAGIC	0x5453524b	/* "KRST" */
#define LOCK_TRIES	100
#define LOCK_PAUSE_MS	20

enum reset_result {
	RESET_NOT_ASKED,
	RESET_DONE,
	RESET_LOOKED,
	RESET_LOCK_BUSY,
	RESET_NOT_FOUND,
	RESET_NOT_ITSELF,
	RESET_CHANGED,
};

enum loader_result {
	LOADER_NOT_ASKED,
	LOADER_CLEAN,
	LOADER_CLEARED,
	LOADER_LOCK_BUSY,
	LOADER_IN_USE,
};

/* Fixed widths and no padding: user space unpacks it by offset. */
struct reset_entry {
	u32 state;
	s32 refcount;
	u64 init;
	u64 exit;
};

struct reset_report {
	u32 magic;
	u32 reset;
	struct reset_entry found;
	struct reset_entry left;
	u32 loader;
	u32 buckets;
	s32 loading_pid;
	u32 reserved;
};

static char *name = "";
module_param(name, charp, 0);
static unsigned long address;
module_param(address, ulong, 0);
static unsigned long modules;
module_param(modules, ulong, 0);
static unsigned long module_lock;
module_param(module_lock, ulong, 0);
static bool look;
module_param(look, bool, 0);

static unsigned int old_state;
module_param(old_state, uint, 0);
static int old_refcount;
module_param(old_refcount, int, 0);
static unsigned long old_init;
module_param(old_init, ulong, 0);
static unsigned long old_exit;
module_param(old_exit, ulong, 0);

static unsigned int new_state;
module_param(new_state, uint, 0);
static int new_refcount;
module_param(new_refcount, int, 0);
static unsigned long new_init;
module_param(new_init, ulong, 0);
static unsigned long new_exit;
module_param(new_exit, ulong, 0);

static unsigned long idem_hash;
module_param(idem_hash, ulong, 0);
static unsigned long idem_lock;
module_param(idem_lock, ulong, 0);
static unsigned int idem_buckets;
module_param(idem_buckets, uint, 0);

static unsigned long report;
module_param(report, ulong, 0);

static void read_entry(struct module *mod, struct reset_entry *entry)
{
	entry->state = READ_ONCE(mod->state);
	entry->refcount = atomic_read(&mod->refcnt);
	entry->init = (unsigned long)READ_ONCE(mod->init);
	entry->exit = (unsigned long)READ_ONCE(mod->exit);
}

static struct module *find_target(void)
{
	struct module *mod;

	list_for_each_entry(mod, (struct list_head *)modules, list) {
		if ((unsigned long)mod == address && !strcmp(mod->name, name))
			return mod;
	}
	return NULL;
}

static enum reset_result reset_locked(struct reset_report *r)
{
	struct module *mod = find_target();

	/* A percpu refcount (before 3.19) would be corrupted by an atomic store. */
	BUILD_BUG_ON(!__same_type(mod->refcnt, atomic_t));

	if (!mod)
		return RESET_NOT_FOUND;
	if (mod == THIS_MODULE || mod->mkobj.mod != mod)
		return RESET_NOT_ITSELF;

	read_entry(mod, &r->found);
	r->left = r->found;
	if (look)
		return RESET_LOOKED;
	if (r->found.state != old_state || r->found.init != old_init ||
	    r->found.exit != old_exit)
		return RESET_CHANGED;
	/* References move without the lock: exchange, never just store. */
	if (atomic_cmpxchg(&mod->refcnt, old_refcount, new_refcount) != old_refcount)
		return RESET_CHANGED;

	WRITE_ONCE(mod->init, (typeof(mod->init))new_init);
	WRITE_ONCE(mod->exit, (typeof(mod->exit))new_exit);
	/* State last: whoever sees it LIVE must see the pointers above. */
	smp_wmb();
	WRITE_ONCE(mod->state, new_state);

	read_entry(mod, &r->left);
	return RESET_DONE;
}

static enum reset_result reset_target(struct reset_report *r)
{
	struct mutex *lock = (struct mutex *)module_lock;
	enum reset_result result;
	int tries;

	/* A task that died holding the mutex never gives it back. */
	for (tries = 0; !mutex_trylock(lock); tries++) {
		if (tries == LOCK_TRIES)
			return RESET_LOCK_BUSY;
		msleep(LOCK_PAUSE_MS);
	}
	result = reset_locked(r);
	mutex_unlock(lock);
	return result;
}

static bool in_finit_module(struct task_struct *task)
{
	struct pt_regs regs;

	/* A task that exits, or died in an oops, cannot have a valid entry. */
	if (task == current || task->flags & (PF_KTHREAD | PF_EXITING))
		return false;
	/* The stack of a task that ends meanwhile may go: never fault on it. */
	if (copy_from_kernel_nofault(&regs, task_pt_regs(task), sizeof(regs)))
		return false;
#ifdef CONFIG_X86
	return regs.orig_ax == __NR_finit_module;
#elif defined(CONFIG_ARM64)
	return regs.syscallno == __NR_finit_module;
#else
	return true;
#endif
}

static pid_t task_in_finit_module(void)
{
	struct task_struct *process, *task;
	pid_t pid = 0;

	rcu_read_lock();
	for_each_process_thread(process, task) {
		if (in_finit_module(task)) {
			pid = task->pid;
			goto found;
		}
	}
found:
	rcu_read_unlock();
	return pid;
}

/*
 * From 6.5 on finit_module(2) hashes an entry on the caller's stack; a task
 * that dies in init leaves it behind. With nobody inside finit_module(2)
 * every entry is such a leftover, and the table must be empty.
 */
static enum loader_result clear_loader(struct reset_report *r)
{
	struct hlist_head *heads = (struct hlist_head *)idem_hash;
	spinlock_t *lock = (spinlock_t *)idem_lock;
	enum loader_result result = LOADER_IN_USE;
	unsigned int bucket;
	int tries;

	for (tries = 0; !spin_trylock(lock); tries++) {
		if (tries == LOCK_TRIES)
			return LOADER_LOCK_BUSY;
		msleep(LOCK_PAUSE_MS);
	}
	r->loading_pid = task_in_finit_module();
	if (r->loading_pid)
		goto unlock;

	for (bucket = 0; bucket < idem_buckets; bucket++) {
		if (hlist_empty(&heads[bucket]))
			continue;
		if (!look)
			INIT_HLIST_HEAD(&heads[bucket]);
		r->buckets++;
	}
	result = r->buckets ? LOADER_CLEARED : LOADER_CLEAN;
unlock:
	spin_unlock(lock);
	return result;
}

static int __init kmod_reset_init(void)
{
	struct reset_report r = { .magic = REPORT_MAGIC };

	if (address && modules && module_lock)
		r.reset = reset_target(&r);
	if (idem_hash && idem_lock)
		r.loader = clear_loader(&r);
	if (copy_to_user((void __user *)report, &r, sizeof(r)))
		return -EFAULT;
	return -ECANCELED;
}
module_init(kmod_reset_init);

/*
 * Never called. Its relocation shows the offset of exit in the struct module
 * that this file was built with, which must be the running kernel's.
 */
static void __exit kmod_reset_exit(void)
{
}
module_exit(kmod_reset_exit);

MODULE_DESCRIPTION("Mends the entry of one stuck module; never stays loaded");
MODULE_LICENSE("GPL");

// SPDX-License-Identifier: GPL-2.0-only
/*
 * kmod_reset - mend the entry of one stuck module, then decline to be loaded
 *
 * Mechanism only: user space has read what the module table holds and decided
 * what it should hold. This module takes module_mutex, compares, looks whether
 * anything runs in the target, stores, and reports into a buffer of the process
 * that called init_module(2).
 *
 * Its init returns -ECANCELED, so that it does not stay loaded; that failure
 * path also wakes module_wq, on which other loads may wait for the target. Only
 * where another CPU is still to call its code does it stay, until that is over.
 */
#include <linux/atomic.h>
#include <linux/build_bug.h>
#include <linux/delay.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "kmod_reset.h"

#define WORDS_OF_STEP	(sizeof(struct undo_step) / sizeof(unsigned long))

#ifndef CONFIG_MODULE_UNLOAD
#error "this kernel cannot unload modules (CONFIG_MODULE_UNLOAD is not set)"
#endif

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
static unsigned int look_for;
module_param(look_for, uint, 0);
static char *new_name = "";
module_param(new_name, charp, 0);

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

static unsigned long undo_words[MOST_UNDONE * WORDS_OF_STEP];
static unsigned int undo_length;
module_param_array_named(undo, undo_words, ulong, &undo_length, 0);

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

static bool is_as_expected(struct module *mod, struct reset_report *r)
{
	read_entry(mod, &r->found);
	r->left = r->found;
	return r->found.state == old_state && r->found.refcount == old_refcount &&
	       r->found.init == old_init && r->found.exit == old_exit;
}

static enum reset_result store(struct module *mod, struct reset_report *r)
{
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

/* Held by a reference, it is as nobody else expects it to be, and stays. */
static enum reset_result hold(struct module *mod, struct module **held)
{
	if (atomic_cmpxchg(&mod->refcnt, old_refcount, old_refcount + 1) != old_refcount)
		return RESET_CHANGED;
	*held = mod;
	return RESET_UNDONE;
}

static enum reset_result reset_locked(struct reset_report *r, bool stalled, struct module **held)
{
	struct module *mod = find_target();

	/* A percpu refcount (before 3.19) would be corrupted by an atomic store. */
	BUILD_BUG_ON(!__same_type(mod->refcnt, atomic_t));

	if (!mod)
		return RESET_NOT_FOUND;
	if (mod == THIS_MODULE || mod->mkobj.mod != mod)
		return RESET_NOT_ITSELF;

	if (!is_as_expected(mod, r) && !look)
		return RESET_CHANGED;
	if (look) {
		/* This module stays then, and there will be no second look: say who it is. */
		if (stalled)
			r->look = look_for_users(mod, LOOK_FOR_TASKS, r);
		if (r->look == LOOK_CLEAR)
			r->look = LOOK_STALLED;
		return RESET_LOOKED;
	}
	if (look_for != LOOK_FOR_NOBODY) {
		r->look = look_for_users(mod, look_for, r);
		if (r->look != LOOK_CLEAR)
			return RESET_IN_USE;
		/* A load ends, and references come and go, without the lock. */
		if (!is_as_expected(mod, r))
			return RESET_CHANGED;
	}
	if (*new_name)
		return park(mod, new_name, (struct list_head *)modules, r);
	/* Nothing could be freed, and delete_module(2) would hang half way. */
	if (stalled) {
		r->look = LOOK_STALLED;
		return RESET_IN_USE;
	}
	if (undo_length)
		return hold(mod, held);
	return store(mod, r);
}

static enum reset_result reset_target(struct reset_report *r, bool stalled)
{
	struct mutex *lock = (struct mutex *)module_lock;
	struct module *held = NULL;
	enum reset_result result;
	int tries;

	/* A task that died holding the mutex never gives it back. */
	for (tries = 0; !mutex_trylock(lock); tries++) {
		if (tries == LOCK_TRIES)
			return RESET_LOCK_BUSY;
		msleep(LOCK_PAUSE_MS);
	}
	/*
	 * Held from the comparison to the store, the look between them included: it
	 * takes milliseconds, and else the target could be unloaded meanwhile and
	 * another build be running its init at the same address.
	 */
	result = reset_locked(r, stalled, &held);
	mutex_unlock(lock);
	if (held) {
		undo_all(held, (struct undo_step *)undo_words, undo_length / WORDS_OF_STEP, r);
		atomic_dec(&held->refcnt);
		read_entry(held, &r->left);
	}
	return result;
}

static int __init kmod_reset_init(void)
{
	struct reset_report r = { .magic = REPORT_MAGIC, .cpu = -1 };
	bool stalled = !grace_period_ends();
	int error = -ECANCELED;

	if (address && modules && module_lock)
		r.reset = reset_target(&r, stalled);
	/* What is refused changes nothing at all. */
	if (idem_hash && idem_lock && r.reset <= RESET_LOOKED)
		r.loader = clear_loader((struct hlist_head *)idem_hash, idem_buckets,
					(spinlock_t *)idem_lock, look, &r);
	if (copy_to_user((void __user *)report, &r, sizeof(r)))
		error = -EFAULT;
	return still_needed() ? 0 : error;
}
module_init(kmod_reset_init);

/*
 * Its relocation shows the offset of exit in the struct module that this file
 * was built with, which must be the running kernel's.
 */
static void __exit kmod_reset_exit(void)
{
}
module_exit(kmod_reset_exit);

MODULE_INFO(interface, INTERFACE);
MODULE_DESCRIPTION("Mends the entry of one stuck module; never stays loaded");
MODULE_LICENSE("GPL");

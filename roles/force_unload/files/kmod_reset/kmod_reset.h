/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KMOD_RESET_H
#define KMOD_RESET_H

#include <linux/compiler.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/types.h>

#define REPORT_MAGIC	0x3253524b	/* "KRS2" */
/* What user space finds in modinfo: the parameters and the report as they are here. */
#define INTERFACE	"2"
#define COMMAND_LENGTH	16
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
	RESET_IN_USE,
	RESET_PARKED,
	RESET_NAME_TAKEN,
	RESET_HAS_DEPENDENTS,
	RESET_NOT_RENAMED,
};

enum loader_result {
	LOADER_NOT_ASKED,
	LOADER_CLEAN,
	LOADER_CLEARED,
	LOADER_LOCK_BUSY,
	LOADER_IN_USE,
};

/* Whom to look for in the target's code. */
enum look_for {
	LOOK_FOR_NOBODY,
	LOOK_FOR_TASKS,
	LOOK_FOR_USER_TASKS,	/* the target's exit stops its kernel threads */
};

enum look_result {
	LOOK_NOT_ASKED,
	LOOK_CLEAR,
	LOOK_TASK,		/* a task that is off its CPU */
	LOOK_CPU,		/* what a CPU was doing */
	LOOK_SILENT,		/* a CPU does not answer */
	LOOK_STALLED,		/* no grace period ends: some CPU is stuck in the kernel */
	LOOK_UNFINISHED,	/* tasks came and went too fast, or are too many */
};

struct reset_entry {
	u32 state;
	s32 refcount;
	u64 init;
	u64 exit;
};

/* Fixed widths and no padding: user space unpacks it by offset. */
struct reset_report {
	u32 magic;
	u32 reset;
	struct reset_entry found;
	struct reset_entry left;
	u32 loader;
	u32 buckets;
	s32 loading_pid;
	u32 look;
	s32 pid;
	s32 cpu;		/* -1: none */
	u32 tasks;
	u32 hidden_symbols;
	s32 error;
	u32 reserved;
	u64 at;			/* the address in the target's code */
	u64 nanoseconds;
	u8 command[COMMAND_LENGTH];
};

bool grace_period_ends(void);
enum look_result look_for_users(struct module *mod, enum look_for whom, struct reset_report *r);
bool still_needed(void);

enum reset_result park(struct module *mod, const char *new_name, struct list_head *modules,
		       struct reset_report *r);

enum loader_result clear_loader(struct hlist_head *heads, unsigned int buckets, spinlock_t *lock,
				bool only_count, struct reset_report *r);

#endif

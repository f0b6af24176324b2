/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KMOD_RESET_H
#define KMOD_RESET_H

#include <linux/compiler.h>
#include <linux/completion.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/types.h>

#define REPORT_MAGIC	0x3353524b	/* "KRS3" */
/* What user space finds in modinfo: the parameters and the report as they are here. */
#define INTERFACE	"4"
#define COMMAND_LENGTH	16
#define LOCK_TRIES	100
#define LOCK_PAUSE_MS	20
#define MOST_UNDONE	64

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
	RESET_UNDONE,
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

/* What the kernel's own functions take back. */
enum undo_kind {
	UNDO_NOTHING,
	UNDO_MISC,
	UNDO_CDEV,
	UNDO_DEVICE,
	UNDO_CLASS,
	UNDO_PROC,
	UNDO_DEBUGFS,
	UNDO_SYSFS_FILE,
	UNDO_KOBJECT,
	UNDO_TIMER,
	UNDO_HRTIMER,
	UNDO_WORK,
	UNDO_DELAYED_WORK,
	UNDO_INTERRUPT,
	UNDO_KPROBE,
	UNDO_KRETPROBE,
	UNDO_ATOMIC_NOTIFIER,
	UNDO_BLOCKING_NOTIFIER,
	UNDO_NETDEVICE_NOTIFIER,
	UNDO_NETFILTER,
	UNDO_PACKET,
	UNDO_NETDEV,
	UNDO_FILESYSTEM,
	UNDO_SYSCTL,
	UNDO_TRACEPOINT,
	UNDO_FTRACE,
	UNDO_DRIVER,
	UNDO_THREAD,
	UNDO_SYSFS_GROUP,
	UNDO_PLATFORM_DEVICE,
	UNDO_BUS,
	UNDO_WORKQUEUE,
	UNDO_KINDS,
};

enum undo_result {
	UNDO_NOT_TRIED,
	UNDO_DONE,
	UNDO_NOT_THERE,		/* it is no longer registered, or not the target's */
	UNDO_IN_USE,
	UNDO_UNKNOWN,		/* this kernel has none of that kind */
	UNDO_LATE,		/* the kernel's function has not returned: this module must stay */
	UNDO_OWN_CODE,		/* the target's own code would be called */
	UNDO_DIED,		/* a thread of the target, when it was told to stop */
};

/* As the parameter undo has it, word by word. */
struct undo_step {
	unsigned long kind;
	unsigned long address;
	unsigned long other;	/* what it is registered with */
	unsigned long more;
	unsigned long proof;	/* where a word is that leads into the target */
};

struct undoing {
	struct completion ended;
	struct undo_step step;
	struct module *target;
	unsigned long deadline;
	enum undo_result result;
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
	u64 undo_count;
	u8 undone[MOST_UNDONE];
};

bool grace_period_ends(void);
enum look_result look_for_users(struct module *mod, enum look_for whom, struct reset_report *r);
bool still_needed(void);
void stay(void);

enum reset_result park(struct module *mod, const char *new_name, struct list_head *modules,
		       struct reset_report *r);

void undo_all(struct module *mod, const struct undo_step *steps, unsigned int count,
	      struct reset_report *r);

enum loader_result clear_loader(struct hlist_head *heads, unsigned int buckets, spinlock_t *lock,
				bool only_count, struct reset_report *r);

#endif

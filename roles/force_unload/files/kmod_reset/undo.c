// SPDX-License-Identifier: GPL-2.0-only
/*
 * Takes back what a module that died had registered, by the kernel's own
 * functions: one after the other, each in a thread of its own, since what it
 * waits for may never come.
 *
 * User space has found each in the kernel's lists, or by a pointer.
 */
#include <linux/completion.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "kmod_reset.h"

#define UNDO_JIFFIES		(10 * HZ)

static int undo_in_thread(void *data)
{
	struct undoing *undoing = data;

	undoing->result = undo_by_kind[undoing->step.kind](undoing);
	complete(&undoing->ended);
	/* Whoever waits must know that this code is left. */
	while (!kthread_should_stop()) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (!kthread_should_stop())
			schedule_timeout(HZ);
		__set_current_state(TASK_RUNNING);
	}
	return 0;
}

/*
 * Whether the step is about something of the target: it lies there, what it
 * holds leads there, or the target keeps a pointer to it.
 */
static bool is_its_own(const struct undo_step *step, struct module *mod)
{
	unsigned long leads_to;

	if (within_module(step->address, mod))
		return true;
	if (!step->proof || get_kernel_nofault(leads_to, (unsigned long *)step->proof))
		return false;
	return within_module(leads_to, mod) ||
	       (within_module(step->proof, mod) && leads_to == step->address);
}

static enum undo_result undo(const struct undo_step *step, struct module *mod)
{
	struct undoing *undoing;
	struct task_struct *thread;
	enum undo_result result;

	if (step->kind >= UNDO_KINDS || !undo_by_kind[step->kind])
		return UNDO_UNKNOWN;
	if (step->kind != UNDO_NOTHING && !is_its_own(step, mod))
		return UNDO_NOT_THERE;
	undoing = kzalloc(sizeof(*undoing), GFP_KERNEL);
	if (!undoing)
		return UNDO_UNKNOWN;
	init_completion(&undoing->ended);
	undoing->step = *step;
	undoing->target = mod;
	undoing->deadline = jiffies + UNDO_JIFFIES / 2;
	thread = kthread_run(undo_in_thread, undoing, "kmod_undo");
	if (IS_ERR(thread)) {
		kfree(undoing);
		return UNDO_UNKNOWN;
	}
	if (!wait_for_completion_timeout(&undoing->ended, UNDO_JIFFIES)) {
		/* It is in this code, and what it was given must be there for it. */
		stay();
		return UNDO_LATE;
	}
	kthread_stop(thread);
	result = undoing->result;
	/* What lies in free memory would be taken for a pointer that somebody holds. */
	kfree_sensitive(undoing);
	return result;
}

/* The target is held by a reference meanwhile. What follows one that is late is not tried. */
void undo_all(struct module *mod, const struct undo_step *steps, unsigned int count,
	      struct reset_report *r)
{
	static const struct undo_step awaited = { .kind = UNDO_NOTHING };
	enum undo_result result = UNDO_NOT_TRIED;
	unsigned int i;

	for (i = 0; i < count && result != UNDO_LATE; i++) {
		result = undo(&steps[i], mod);
		r->undone[i] = result;
	}
	if (result != UNDO_LATE)
		undo(&awaited, mod);
	r->undo_count = count;
}

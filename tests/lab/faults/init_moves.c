// SPDX-License-Identifier: GPL-2.0-only
/* Dies in init; what calls it lies in a page of its own, and goes on to another now and then. */
#include <linux/errno.h>
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#include "leaves.h"

#define STAYS 25

struct moving {
	struct rcu_work work;
	int calls;
};

static struct workqueue_struct *queue;
static bool ends;

static void init_moves_run(struct work_struct *work);

static void init_moves_go_on(void)
{
	struct moving *next = (void *)get_zeroed_page(GFP_KERNEL);

	if (!next)
		return;
	INIT_RCU_WORK(&next->work, init_moves_run);
	queue_rcu_work(queue, &next->work);
}

static void init_moves_run(struct work_struct *work)
{
	struct moving *now = container_of(to_rcu_work(work), struct moving, work);

	if (!READ_ONCE(ends) && ++now->calls < STAYS) {
		queue_rcu_work(queue, &now->work);
		return;
	}
	memset(now, 0, sizeof(*now));
	if (!READ_ONCE(ends))
		init_moves_go_on();
	free_page((unsigned long)now);
}

static int init_moves_leave(void)
{
	queue = alloc_workqueue("lab_moves", 0, 0);
	if (!queue)
		return -ENOMEM;
	init_moves_go_on();
	return 0;
}

static void init_moves_take_back(void)
{
	WRITE_ONCE(ends, true);
	rcu_barrier();
	destroy_workqueue(queue);
}

LEAVES(init_moves, "a work that goes from page to page");

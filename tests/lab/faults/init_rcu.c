// SPDX-License-Identifier: GPL-2.0-only
/* Asks for an RCU callback, which asks again, and dies in init. */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/rcupdate.h>

#include "leaves.h"

static struct rcu_head head;
static bool ends;

static void init_rcu_called(struct rcu_head *called)
{
	if (!READ_ONCE(ends))
		call_rcu(called, init_rcu_called);
}

static int init_rcu_leave(void)
{
	call_rcu(&head, init_rcu_called);
	return 0;
}

static void init_rcu_take_back(void)
{
	WRITE_ONCE(ends, true);
	rcu_barrier();
	rcu_barrier();
}

LEAVES(init_rcu, "an RCU callback asked for");

// SPDX-License-Identifier: GPL-2.0-only
/* Registers a queueing discipline, init_qdisc, and dies in init. */
#include <linux/skbuff.h>
#include <net/pkt_sched.h>

#include "leaves.h"

static int init_qdisc_enqueue(struct sk_buff *skb, struct Qdisc *sch, struct sk_buff **to_free)
{
	return qdisc_drop(skb, sch, to_free);
}

static struct sk_buff *init_qdisc_dequeue(struct Qdisc *sch)
{
	return NULL;
}

static struct Qdisc_ops init_qdisc_ops = {
	.id = "init_qdisc",
	.owner = THIS_MODULE,
	.enqueue = init_qdisc_enqueue,
	.dequeue = init_qdisc_dequeue,
	.peek = init_qdisc_dequeue,
};

static int init_qdisc_leave(void)
{
	return register_qdisc(&init_qdisc_ops);
}

static void init_qdisc_take_back(void)
{
	unregister_qdisc(&init_qdisc_ops);
}

LEAVES(init_qdisc, "a queueing discipline");

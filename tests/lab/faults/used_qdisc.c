// SPDX-License-Identifier: GPL-2.0-only
/* A queueing discipline, used_qdisc, that a network device has: lo. It keeps nothing back. */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/skbuff.h>
#include <net/pkt_sched.h>

static int used_qdisc_enqueue(struct sk_buff *skb, struct Qdisc *sch, struct sk_buff **to_free)
{
	return qdisc_enqueue_tail(skb, sch);
}

static struct Qdisc_ops used_qdisc_ops = {
	.id = "used_qdisc",
	.owner = THIS_MODULE,
	.enqueue = used_qdisc_enqueue,
	.dequeue = qdisc_dequeue_head,
	.peek = qdisc_peek_head,
	.reset = qdisc_reset_queue,
};

static int __init used_qdisc_init(void)
{
	return register_qdisc(&used_qdisc_ops);
}

static void __exit used_qdisc_exit(void)
{
	unregister_qdisc(&used_qdisc_ops);
}

module_init(used_qdisc_init);
module_exit(used_qdisc_exit);
MODULE_DESCRIPTION("No fault: a queueing discipline that a network device has");
MODULE_LICENSE("GPL");

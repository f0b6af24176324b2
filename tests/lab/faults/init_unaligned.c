// SPDX-License-Identifier: GPL-2.0-only
/* Dies in init; what can call it is not aligned. */
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "leaves.h"
#include "told_of_orphans.h"

struct packed {
	u8 kind;
	struct wait_queue_entry entry;
} __packed;

static struct packed *packed;

/* The compiler warns of the address of a member that is not aligned. */
static struct wait_queue_entry *entry_of(struct packed *found)
{
	return (void *)found + offsetof(struct packed, entry);
}

static int init_unaligned_leave(void)
{
	packed = kzalloc(sizeof(*packed), GFP_KERNEL);
	if (!packed)
		return -ENOMEM;
	be_told_of_orphans(entry_of(packed));
	return 0;
}

static void init_unaligned_take_back(void)
{
	be_told_no_more(entry_of(packed));
	kfree(packed);
}

LEAVES(init_unaligned, "a wait queue entry that is not aligned");

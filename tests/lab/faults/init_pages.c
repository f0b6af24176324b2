// SPDX-License-Identifier: GPL-2.0-only
/* Dies in init; what can call it lies in pages that it asked for at once, not in the first. */
#include <linux/errno.h>
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/module.h>

#include "leaves.h"
#include "told_of_orphans.h"

#define ORDER 4

static unsigned long pages;
static struct wait_queue_entry *entry;

static int init_pages_leave(void)
{
	pages = __get_free_pages(GFP_KERNEL | __GFP_ZERO, ORDER);
	if (!pages)
		return -ENOMEM;
	entry = (void *)(pages + 5 * PAGE_SIZE + 64);
	be_told_of_orphans(entry);
	return 0;
}

static void init_pages_take_back(void)
{
	be_told_no_more(entry);
	free_pages(pages, ORDER);
}

LEAVES(init_pages, "a wait queue entry in its pages");

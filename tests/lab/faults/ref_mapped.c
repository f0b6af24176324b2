// SPDX-License-Identifier: GPL-2.0-only
/* Has lost a reference; what can call it lies in a page that whoever writes to "map" has mapped. */
#include <linux/errno.h>
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

#include "told_of_orphans.h"

static struct page *page;

static struct wait_queue_entry *entry(void)
{
	return page_address(page) + 64;
}

static int ref_mapped_map(const char *value, const struct kernel_param *unused)
{
	struct vm_area_struct *area;
	unsigned long address;
	int error = kstrtoul(value, 0, &address);

	if (error)
		return error;
	mmap_write_lock(current->mm);
	area = find_vma(current->mm, address);
	error = -EFAULT;
	if (area && area->vm_start <= address)
		error = vm_insert_page(area, area->vm_start, page);
	mmap_write_unlock(current->mm);
	if (!error) {
		be_told_of_orphans(entry());
		__module_get(THIS_MODULE);
	}
	return error;
}

static const struct kernel_param_ops map_ops = { .set = ref_mapped_map };
module_param_cb(map, &map_ops, NULL, 0200);

static int __init ref_mapped_init(void)
{
	page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	return page ? 0 : -ENOMEM;
}

static void __exit ref_mapped_exit(void)
{
	be_told_no_more(entry());
	__free_page(page);
}

module_init(ref_mapped_init);
module_exit(ref_mapped_exit);
MODULE_DESCRIPTION("Fault: a lost reference, and a wait queue entry in a page that a process has mapped");
MODULE_LICENSE("GPL");

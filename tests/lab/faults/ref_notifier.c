// SPDX-License-Identifier: GPL-2.0-only
/* Has lost a reference, and is told when the process that wrote to "watch" ends. */
#include <linux/errno.h>
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>

#define ORDER 2

static unsigned long pages;
static struct mm_struct *watched;

static struct mmu_notifier *notifier(void)
{
	return (void *)(pages + 2 * PAGE_SIZE + 64);
}

static void ref_notifier_release(struct mmu_notifier *unused, struct mm_struct *mm)
{
}

static const struct mmu_notifier_ops notifier_ops = { .release = ref_notifier_release };

static int ref_notifier_watch(const char *value, const struct kernel_param *unused)
{
	int error;

	notifier()->ops = &notifier_ops;
	error = mmu_notifier_register(notifier(), current->mm);
	if (!error) {
		watched = current->mm;
		__module_get(THIS_MODULE);
	}
	return error;
}

static const struct kernel_param_ops watch_ops = { .set = ref_notifier_watch };
module_param_cb(watch, &watch_ops, NULL, 0200);

static int __init ref_notifier_init(void)
{
	pages = __get_free_pages(GFP_KERNEL | __GFP_ZERO, ORDER);
	return pages ? 0 : -ENOMEM;
}

static void __exit ref_notifier_exit(void)
{
	if (watched)
		mmu_notifier_unregister(notifier(), watched);
	free_pages(pages, ORDER);
}

module_init(ref_notifier_init);
module_exit(ref_notifier_exit);
MODULE_DESCRIPTION("Fault: a lost reference, and a notifier on a process's memory");
MODULE_LICENSE("GPL");

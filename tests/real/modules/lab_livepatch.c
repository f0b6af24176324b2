// SPDX-License-Identifier: GPL-2.0-only
/*
 * A live patch of the running kernel, enabled as soon as it is loaded:
 * /proc/cmdline says other words, as samples/livepatch does it.
 */
#include <linux/kernel.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/seq_file.h>

static int patched_cmdline_proc_show(struct seq_file *m, void *v)
{
	seq_puts(m, "this has been live patched\n");
	return 0;
}

static struct klp_func funcs[] = {
	{
		.old_name = "cmdline_proc_show",
		.new_func = patched_cmdline_proc_show,
	},
	{}
};

static struct klp_object objects[] = {
	{ .funcs = funcs },
	{}
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objects,
};

static int __init lab_livepatch_init(void)
{
	return klp_enable_patch(&patch);
}

static void __exit lab_livepatch_exit(void)
{
}

module_init(lab_livepatch_init);
module_exit(lab_livepatch_exit);
MODULE_DESCRIPTION("A live patch, for the tests");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");

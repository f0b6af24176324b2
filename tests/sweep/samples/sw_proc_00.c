// SPDX-License-Identifier: GPL-2.0-only
#include <linux/errno.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

#include "steps.h"
#include "text.h"

static struct proc_dir_entry *directory;

static const struct proc_ops text_proc_ops = {
	.proc_read = text_read,
};

static int show(struct seq_file *file, void *unused)
{
	seq_puts(file, "lab\n");
	return 0;
}

static int make_directory(void)
{
	directory = proc_mkdir(NAME, NULL);
	return directory ? 0 : -ENOMEM;
}

static void drop_directory(void)
{
	proc_remove(directory);
}

static int make_text(void)
{
	return proc_create("text", 0444, directory, &text_proc_ops) ? 0 : -ENOMEM;
}

static void drop_text(void)
{
	remove_proc_entry("text", directory);
}

static int make_shown(void)
{
	return proc_create_single("shown", 0444, directory, show) ? 0 : -ENOMEM;
}

static void drop_shown(void)
{
	remove_proc_entry("shown", directory);
}

static const struct step steps[] = {
	{ make_directory, drop_directory },
	{ make_text, drop_text },
	{ make_shown, drop_shown },
};

SAMPLE("a directory with files in /proc");

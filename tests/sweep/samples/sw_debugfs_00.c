// SPDX-License-Identifier: GPL-2.0-only
#include <linux/debugfs.h>

#include "steps.h"
#include "text.h"

static struct dentry *directory;
static u32 value = 7;

static int make_directory(void)
{
	directory = debugfs_create_dir(NAME, NULL);
	return 0;
}

static void drop_directory(void)
{
	debugfs_remove(directory);
}

static int make_files(void)
{
	debugfs_create_file("text", 0444, directory, NULL, &text_fops);
	debugfs_create_u32("value", 0644, directory, &value);
	return 0;
}

static void drop_files(void)
{
}

static const struct step steps[] = {
	{ make_directory, drop_directory },
	{ make_files, drop_files },
};

SAMPLE("a directory with files in debugfs");

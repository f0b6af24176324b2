// SPDX-License-Identifier: GPL-2.0-only
/* Renames a module in place, so that another of its name can be loaded beside it. */
#include <linux/kobject.h>
#include <linux/printk.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "kmod_reset.h"

static bool is_taken(const char *name, struct list_head *modules)
{
	struct module *mod;

	list_for_each_entry(mod, modules, list) {
		if (!strcmp(mod->name, name))
			return true;
	}
	return false;
}

/* What it uses holds a link to it, by name: the next of that name could not be loaded. */
static int rename_holder_links(struct kobject *kobj, const char *from, const char *to,
			       struct list_head *modules)
{
	struct module *used;
	int error;

	list_for_each_entry(used, modules, list) {
		if (used->state != MODULE_STATE_LIVE || !used->holders_dir)
			continue;
		error = sysfs_rename_link(used->holders_dir, kobj, from, to);
		if (error && error != -ENOENT)
			return error;
	}
	return 0;
}

static int rename_in_sysfs(struct kobject *kobj, const char *from, const char *to,
			   struct list_head *modules)
{
	int error = kobject_rename(kobj, to);

	return error ? error : rename_holder_links(kobj, from, to, modules);
}

/* Nobody uses them: no module depends on this one. */
static u32 hide_symbols(struct module *mod)
{
	u32 hidden = mod->num_syms;

	WRITE_ONCE(mod->num_syms, 0);
#ifdef HAVE_GPL_SYMS
	hidden += mod->num_gpl_syms;
	WRITE_ONCE(mod->num_gpl_syms, 0);
#endif
	return hidden;
}

/* Under module_mutex. */
enum reset_result park(struct module *mod, const char *new_name, struct list_head *modules,
		       struct reset_report *r)
{
	struct kobject *kobj = &mod->mkobj.kobj;
	char old_name[MODULE_NAME_LEN];

	if (is_taken(new_name, modules))
		return RESET_NAME_TAKEN;
	if (!list_empty(&mod->source_list))
		return RESET_HAS_DEPENDENTS;
	r->error = -ENAMETOOLONG;
	if (strlen(new_name) >= MODULE_NAME_LEN)
		return RESET_NOT_RENAMED;
	r->error = -ENOENT;
	if (!kobj->state_in_sysfs || !kobj->sd)
		return RESET_NOT_RENAMED;

	strscpy(old_name, mod->name, sizeof(old_name));
	r->error = rename_in_sysfs(kobj, old_name, new_name, modules);
	if (r->error) {
		/* Whether it had got there or not. */
		if (strcmp(kobject_name(kobj), old_name) &&
		    rename_in_sysfs(kobj, new_name, old_name, modules))
			pr_err("the directory of %s is called %s now\n", old_name,
			       kobject_name(kobj));
		return RESET_NOT_RENAMED;
	}
	strscpy(mod->name, new_name, sizeof(mod->name));
	r->hidden_symbols = hide_symbols(mod);
	return RESET_PARKED;
}

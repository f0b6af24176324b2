// SPDX-License-Identifier: GPL-2.0-only
/* Registers a type of keys and dies in init. */
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/key-type.h>
#include <linux/module.h>

#include "leaves.h"

static int init_key_instantiate(struct key *key, struct key_preparsed_payload *payload)
{
	return -EINVAL;
}

static struct key_type init_key_type = {
	.name = "lab_key",
	.instantiate = init_key_instantiate,
};

static int init_key_leave(void)
{
	return register_key_type(&init_key_type);
}

static void init_key_take_back(void)
{
	unregister_key_type(&init_key_type);
}

LEAVES(init_key, "a key type registered");

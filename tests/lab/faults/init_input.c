// SPDX-License-Identifier: GPL-2.0-only
/* Registers an input handler, which wants no device, and dies in init. */
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/input.h>
#include <linux/module.h>

#include "leaves.h"

static bool init_input_match(struct input_handler *handler, struct input_dev *device)
{
	return false;
}

static int init_input_connect(struct input_handler *handler, struct input_dev *device,
			      const struct input_device_id *id)
{
	return -ENODEV;
}

static void init_input_disconnect(struct input_handle *handle)
{
}

static const struct input_device_id init_input_ids[] = {
	{ .driver_info = 1 },
	{ }
};

static struct input_handler init_input_handler = {
	.name = "lab_input",
	.match = init_input_match,
	.connect = init_input_connect,
	.disconnect = init_input_disconnect,
	.id_table = init_input_ids,
};

static int init_input_leave(void)
{
	return input_register_handler(&init_input_handler);
}

static void init_input_take_back(void)
{
	input_unregister_handler(&init_input_handler);
}

LEAVES(init_input, "an input handler registered");

// SPDX-License-Identifier: GPL-2.0-only
/* Registers a hash of the crypto API and dies in init. */
#include <crypto/internal/hash.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/types.h>

#include "leaves.h"

static int init_crypto_begin(struct shash_desc *desc)
{
	return 0;
}

static int init_crypto_update(struct shash_desc *desc, const u8 *data, unsigned int size)
{
	return 0;
}

static int init_crypto_end(struct shash_desc *desc, u8 *to)
{
	memset(to, 0, 4);
	return 0;
}

static struct shash_alg init_crypto_alg = {
	.digestsize = 4,
	.init = init_crypto_begin,
	.update = init_crypto_update,
	.final = init_crypto_end,
	.base = {
		.cra_name = "lab_hash",
		.cra_driver_name = "lab_hash-generic",
		.cra_blocksize = 1,
		.cra_module = THIS_MODULE,
	},
};

static int init_crypto_leave(void)
{
	return crypto_register_shash(&init_crypto_alg);
}

static void init_crypto_take_back(void)
{
	crypto_unregister_shash(&init_crypto_alg);
}

LEAVES(init_crypto, "an algorithm registered");

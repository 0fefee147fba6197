// SPDX-License-Identifier: GPL-2.0

#include <linux/dma-buf.h>
#ifdef CONFIG_RUST_DMA_BUF_KUNIT_TEST
#include <linux/dma-direct.h>
#include <linux/swiotlb.h>
#endif

__rust_helper void rust_helper_get_dma_buf(struct dma_buf *dmabuf)
{
	get_dma_buf(dmabuf);
}

#ifdef CONFIG_RUST_DMA_BUF_KUNIT_TEST
__rust_helper phys_addr_t rust_helper_dma_to_phys(struct device *dev,
						  dma_addr_t dma_addr)
{
	return dma_to_phys(dev, dma_addr);
}

/* Not a function of that name: the tests need no more of the pool. */
__rust_helper bool rust_helper_is_swiotlb_buffer(struct device *dev,
						 phys_addr_t paddr)
{
	return swiotlb_find_pool(dev, paddr);
}
#endif

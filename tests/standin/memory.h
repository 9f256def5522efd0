// Device memory of the stand-in. It is mapped twice: at the addresses that kernels get, which can be touched only while
// the device works, and at others for the host's side of the stand-in. What would be a crash on a machine with a GPU, the
// host reading at an address of the device, is one here too.
#pragma once

#include <cstddef>

namespace standin {

// `bytes` at an address of the device, or null where they would be more than `limit` in all. They hold poison: NaN as a
// number, -1 as an index.
void* allocate(size_t bytes, size_t limit);
// Poisons the bytes from an address that allocate() gave, and takes them back; false for any other.
bool release(void* on_device);
size_t allocated_bytes();

// The other address of the same byte; null where it is none of the device's.
void* host_address(const void* on_device);
void* device_address(const void* on_host);

// While one exists, the device works.
class DeviceWorks {
  public:
    DeviceWorks();
    ~DeviceWorks();
    DeviceWorks(const DeviceWorks&) = delete;
    DeviceWorks& operator=(const DeviceWorks&) = delete;
};

}  // namespace standin

/* Declarations of the part of Triton's C API that the components here use; the server defines what they declare. */
#pragma once

#include <stdint.h>

typedef struct TRITONSERVER_Error TRITONSERVER_Error;
typedef uint32_t TRITONSERVER_DataType;
typedef uint32_t TRITONSERVER_MemoryType;

enum { TRITONSERVER_ERROR_INTERNAL = 1, TRITONSERVER_ERROR_INVALID_ARG = 3 };
enum { TRITONSERVER_MEMORY_CPU = 0 };

TRITONSERVER_Error *TRITONSERVER_ErrorNew(int code, const char *message);
void TRITONSERVER_ErrorDelete(TRITONSERVER_Error *error);

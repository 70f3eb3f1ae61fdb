/* A Triton backend for models of one input and one output; what it does is in a file of its own (transform.h). */
#include <stdlib.h>
#include <string.h>

#include "transform.h"
#include "tritonbackend.h"

#define MAX_DIMS 16
#define TRY(CALL)                              \
    do {                                       \
        TRITONSERVER_Error *failed = (CALL);   \
        if (failed) return failed;             \
    } while (0)

TRITONSERVER_Error *TRITONBACKEND_Initialize(TRITONBACKEND_Backend *backend) {
    (void)backend;
    const char *reason = transform_open();
    return reason ? TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_INTERNAL, reason) : 0;
}

static TRITONSERVER_Error *gather(TRITONBACKEND_Input *input, uint32_t count, char *whole) {
    for (uint32_t i = 0; i < count; i++) {
        const void *part;
        uint64_t size;
        TRITONSERVER_MemoryType type = TRITONSERVER_MEMORY_CPU;
        int64_t type_id = 0;
        TRY(TRITONBACKEND_InputBuffer(input, i, &part, &size, &type, &type_id));
        memcpy(whole, part, size);
        whole += size;
    }
    return 0;
}

static TRITONSERVER_Error *answer(TRITONBACKEND_Request *request, TRITONBACKEND_Response *response) {
    TRITONBACKEND_Input *input;
    TRITONBACKEND_Output *output;
    TRITONSERVER_DataType datatype;
    const int64_t *shape;
    int64_t longer[MAX_DIMS];
    uint32_t dims, buffers;
    uint64_t size;
    void *out;
    TRITONSERVER_MemoryType type = TRITONSERVER_MEMORY_CPU;
    int64_t type_id = 0;

    TRY(TRITONBACKEND_RequestInput(request, "INPUT0", &input));
    TRY(TRITONBACKEND_InputProperties(input, 0, &datatype, &shape, &dims, &size, &buffers));
    if (dims == 0 || dims > MAX_DIMS)
        return TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_INVALID_ARG, "INPUT0 must have 1 to 16 dimensions");
    memcpy(longer, shape, dims * sizeof *shape);
    longer[dims - 1] *= transform_factor;
    TRY(TRITONBACKEND_ResponseOutput(response, &output, "OUTPUT0", datatype, longer, dims));
    TRY(TRITONBACKEND_OutputBuffer(output, &out, size * transform_factor, &type, &type_id));

    char *whole = malloc(size ? size : 1);
    if (!whole) return TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_INTERNAL, "no memory");
    TRITONSERVER_Error *failed = gather(input, buffers, whole);
    if (!failed) transform(out, whole, size);
    free(whole);
    return failed;
}

TRITONSERVER_Error *TRITONBACKEND_ModelInstanceExecute(
    TRITONBACKEND_ModelInstance *instance, TRITONBACKEND_Request **requests, uint32_t count) {
    (void)instance;
    for (uint32_t i = 0; i < count; i++) {
        TRITONBACKEND_Response *response;
        TRITONSERVER_Error *failed = TRITONBACKEND_ResponseNew(&response, requests[i]);
        if (!failed) {
            TRITONSERVER_Error *reason = answer(requests[i], response);
            failed = TRITONBACKEND_ResponseSend(response, TRITONSERVER_RESPONSE_COMPLETE_FINAL, reason);
            if (reason) TRITONSERVER_ErrorDelete(reason);
        }
        if (failed) TRITONSERVER_ErrorDelete(failed);
        failed = TRITONBACKEND_RequestRelease(requests[i], TRITONBACKEND_REQUEST_RELEASE_ALL);
        if (failed) TRITONSERVER_ErrorDelete(failed);
    }
    return 0;
}

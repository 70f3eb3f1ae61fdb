/* A repository agent: a parameter "ADLER32:FILE" holds the checksum, in decimal, that FILE of the model must have. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "acme.h"
#include "tritonrepoagent.h"

#define TRY(CALL)                              \
    do {                                       \
        TRITONSERVER_Error *failed = (CALL);   \
        if (failed) return failed;             \
    } while (0)

static const char prefix[] = "ADLER32:";

static TRITONSERVER_Error *refuse(const char *name) {
    char message[512];
    snprintf(message, sizeof message, "checksum of '%s' is not as said", name);
    return TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_INVALID_ARG, message);
}

static TRITONSERVER_Error *compare(const char *location, const char *name, const char *value) {
    char path[4096];
    unsigned char bytes[1 << 16];
    snprintf(path, sizeof path, "%s/%s", location, name);
    FILE *file = fopen(path, "rb");
    if (!file) return refuse(name);
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    return acme_sum(bytes, size) == strtoul(value, 0, 10) ? 0 : refuse(name);
}

TRITONSERVER_Error *TRITONREPOAGENT_ModelAction(
    TRITONREPOAGENT_Agent *agent, TRITONREPOAGENT_AgentModel *model, TRITONREPOAGENT_ActionType action) {
    TRITONREPOAGENT_ArtifactType type;
    const char *location, *name, *value;
    uint32_t count;

    if (action != TRITONREPOAGENT_ACTION_LOAD) return 0;
    TRY(TRITONREPOAGENT_ModelRepositoryLocation(agent, model, &type, &location));
    TRY(TRITONREPOAGENT_ModelParameterCount(agent, model, &count));
    for (uint32_t i = 0; i < count; i++) {
        TRY(TRITONREPOAGENT_ModelParameter(agent, model, i, &name, &value));
        if (strncmp(name, prefix, sizeof prefix - 1)) continue;
        TRY(compare(location, name + sizeof prefix - 1, value));
    }
    return 0;
}

/* Declarations of the part of Triton's repository agent API that the components here use. */
#pragma once

#include "tritonserver.h"

typedef struct TRITONREPOAGENT_Agent TRITONREPOAGENT_Agent;
typedef struct TRITONREPOAGENT_AgentModel TRITONREPOAGENT_AgentModel;
typedef uint32_t TRITONREPOAGENT_ActionType;
typedef uint32_t TRITONREPOAGENT_ArtifactType;

enum { TRITONREPOAGENT_ACTION_LOAD = 0 };

TRITONSERVER_Error *TRITONREPOAGENT_ModelParameterCount(
    TRITONREPOAGENT_Agent *agent, TRITONREPOAGENT_AgentModel *model, uint32_t *count);
TRITONSERVER_Error *TRITONREPOAGENT_ModelParameter(
    TRITONREPOAGENT_Agent *agent, TRITONREPOAGENT_AgentModel *model, uint32_t index, const char **name,
    const char **value);
TRITONSERVER_Error *TRITONREPOAGENT_ModelRepositoryLocation(
    TRITONREPOAGENT_Agent *agent, TRITONREPOAGENT_AgentModel *model, TRITONREPOAGENT_ArtifactType *type,
    const char **location);

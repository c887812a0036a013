package institution

import (
	"context"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// CreateStudy registers a study of this institution. The same study again is
// fault.Conflict.
func (in *Institution) CreateStudy(ctx context.Context, s record.Study) error {
	return perform(ctx, in, contracts.StudyCreate, s)
}

package vendors_test

import (
	"fmt"

	"ussdd/vendors"
)

func ExampleLoad() {
	set, err := vendors.Load(vendors.Builtin(), vendors.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range set.Route("mtn") {
		fmt.Println(e.Name())
	}
	// Output:
	// mtn/mtn
	// quickvend/mtn
}

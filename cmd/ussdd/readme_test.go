package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ussdd/smpp/smpptest"
)

// TestReadmeExamples loads the README's YAML as the programs would.
func TestReadmeExamples(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := make(map[string]string) // by the key that each begins with
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(readme), -1) {
		key, _, _ := strings.Cut(block[1], ":")
		blocks[key] = block[1]
	}
	if len(blocks) != 5 {
		t.Fatalf("%d kinds of YAML, want a script, a profile, a menu, a vendor and routes", len(blocks))
	}
	if _, err := smpptest.ParseScript("README.md", []byte(blocks["handsets"]), nil); err != nil {
		t.Errorf("the script: %v", err)
	}
	profileFile := filepath.Join(t.TempDir(), "vas.yaml")
	write(t, profileFile, blocks["extends"])
	profile, _, err := readProfile(profileFile)
	if err != nil {
		t.Errorf("the profile: %v", err)
	} else if profile.EndOp != 0x17 {
		t.Errorf("the profile ends with %v", profile.EndOp)
	}
	set(t, nil)
	cfg, _ := loadConfig()
	cfg.Menus, cfg.Vendors = t.TempDir(), t.TempDir()
	for file, text := range map[string]string{
		filepath.Join(cfg.Menus, "hello.yaml"):    blocks["service"],
		filepath.Join(cfg.Vendors, "mtn.yaml"):    blocks["vendor"],
		filepath.Join(cfg.Vendors, "routes.yaml"): blocks["networks"],
	} {
		write(t, file, text)
	}
	loaded, err := loadData(cfg, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if services := loaded.menus.Services(); len(services) != 1 || services[0].Name() != "hello" {
		t.Errorf("services %v", services)
	}
	if route := loaded.vendors.Route("mtn"); len(route) != 1 || route[0].Vendor() != "mtn" {
		t.Errorf("route %v", route)
	}
}

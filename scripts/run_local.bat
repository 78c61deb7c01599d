@echo off
rem Builds and runs the main job; further flags are handed on: scripts\run_local.bat --seed 7
cd /d "%~dp0.."
cargo run -- train --algo ppo --episodes 200 %*
